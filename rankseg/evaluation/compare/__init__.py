"""Methods side by side on the same cases: scores, gains and how sure they are, cost."""
