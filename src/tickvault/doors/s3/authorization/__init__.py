"""May the one who signed do this: access keys, rights, the table of operations, and the decision.

Invariants: every operation of the router has its row in `table.TABLE`, and one without a row is the root's alone; the
decision is made before a byte of the body is asked for, unless a policy speaks of what stands in the body; what is
refused says who, what and why, and nothing of what is stored.
"""
