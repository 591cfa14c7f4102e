"""An evaluation for readers: tables, sentences, pictures, one HTML page."""
