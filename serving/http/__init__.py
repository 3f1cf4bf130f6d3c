"""HTTP: the routes, the middleware in front of them, and their responses."""
