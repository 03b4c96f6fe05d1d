"""What a file of feedback holds: one streamed pass, a frozen `Inspection`, and advice in plain words."""
