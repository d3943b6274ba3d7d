"""Rules: constraints on what is called and in which order, after DECLARE's templates, hard and soft."""
