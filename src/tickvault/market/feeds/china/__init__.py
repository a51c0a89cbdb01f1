"""Level-2 of Shanghai and Shenzhen."""
