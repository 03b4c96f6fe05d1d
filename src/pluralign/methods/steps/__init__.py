"""Steps that methods share: data prepared for them, experts, fronts, rounds of answers, the online loop."""
