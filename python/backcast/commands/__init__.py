"""The commands that encode, score and forecast files larger than memory."""
