"""Pictures on their way to the trainers: preparing, storing, batching, and drawing cartoon faces."""
