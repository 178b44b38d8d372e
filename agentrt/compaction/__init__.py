"""Compaction: a conversation that outgrows the model's context goes on in a shorter form, cut where that pays."""
