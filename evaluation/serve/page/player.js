/** One of the two videos: it has no controls, and counts as watched once all of it was played at its own speed. */

import { byId } from "./dom.js";

const SLACK_S = 0.25; // between the last time that a browser reports and the end of a video

export class Player {
  constructor(side, changed, failed) {
    this.side = side;
    this.watched = false;
    this.video = byId(`${side}-video`);
    this.place = byId(`${side}-side`);
    const on = (type, act) => this.video.addEventListener(type, act);
    on("loadedmetadata", () => this.#shape());
    on("play", () => this.#render());
    on("pause", () => this.#render());
    on("ratechange", () => {
      if (this.video.playbackRate !== 1) this.video.playbackRate = 1;
    });
    on("ended", () => {
      this.watched ||= this.#playedSeconds() >= this.video.duration - SLACK_S;
      this.#render();
      changed();
    });
    on("error", () => failed(this));
    byId(`${side}-play`).addEventListener("click", () => this.toggle());
  }

  /** Show another video, which nobody has watched yet. */
  load(source) {
    this.watched = false;
    this.video.src = source;
    this.#render();
  }

  /** Try again to load the video. */
  reload() {
    this.video.load();
  }

  get playing() {
    return !this.video.paused && !this.video.ended;
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    this.video.play().catch(() => {}); // another video was loaded, or the browser wants a click first
  }

  pause() {
    this.video.pause();
  }

  restart() {
    this.video.currentTime = 0;
    this.play();
  }

  #playedSeconds() {
    const { played } = this.video;
    let seconds = 0;
    for (let at = 0; at < played.length; at += 1) seconds += played.end(at) - played.start(at);
    return seconds;
  }

  #shape() {
    const { videoWidth, videoHeight } = this.video;
    byId("videos").style.setProperty("--ratio", videoWidth / videoHeight); // both have the same
  }

  #render() {
    this.place.classList.toggle("playing", this.playing);
    this.place.classList.toggle("seen-once", this.watched);
    byId(`${this.side}-seen`).textContent = this.watched ? "watched ✓" : "not watched";
    const verb = this.playing ? "Pause" : this.watched ? "Play again:" : "Play";
    byId(`${this.side}-play`).setAttribute("aria-label", `${verb} the ${this.side} video`);
  }
}
