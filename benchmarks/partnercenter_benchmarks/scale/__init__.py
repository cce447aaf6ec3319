"""How long the runs of very large partners take: a simulation on a virtual clock."""
