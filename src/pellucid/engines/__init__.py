"""The engines that methods stand on: points, fills, features, games, coalitions, solves."""
