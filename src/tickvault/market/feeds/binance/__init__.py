"""Binance's raw WebSocket captures."""
