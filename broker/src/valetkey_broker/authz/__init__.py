"""Who may do what: the table of methods, and the rule for resources. Default deny."""
