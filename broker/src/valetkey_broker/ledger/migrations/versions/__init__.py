"""One module a step; a step, once released, is never changed."""
