"""A network as its paper's figure shows it: `modules` reads the graph off, `layout` and `drawing` put it on paper."""
