"""From a trained model to summaries: backends, decoding, post-processing, screening."""
