"""Files: arrays and labels read, labels written, and a result that appears whole or not."""
