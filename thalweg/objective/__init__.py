"""What is descended: losses as functions of a flat point, and their derivatives."""
