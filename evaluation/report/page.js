const videos = [...document.querySelectorAll('video')], button = document.getElementById('play');
function play(on) {
  videos.forEach(video => { if (on) video.play().catch(() => {}); else video.pause(); });
  button.textContent = on ? 'Pause videos' : 'Play videos';
  button.setAttribute('aria-pressed', String(on));
}
button.hidden = videos.length === 0;
button.addEventListener('click', () => play(button.getAttribute('aria-pressed') !== 'true'));
if (matchMedia('(prefers-reduced-motion: reduce)').matches) play(false);
