"""What claims about speed rest on: `python -m benchmarks.run`. See docs/benchmarks.md."""
