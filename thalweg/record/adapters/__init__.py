"""The recorder inside other people's loops, and its numbers in other people's loggers."""
