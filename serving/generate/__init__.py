"""From a job to its files: the models of a server, and the workers that generate with them."""
