"""From a request to a job: its body, its fields, its picture, its video."""
