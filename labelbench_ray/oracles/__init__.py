"""Who answers, and how often they err."""
