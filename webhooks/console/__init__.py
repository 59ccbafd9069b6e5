"""The operator's pages: what happens to every credit, and what to do about it. Rendered here, no JavaScript needed."""
