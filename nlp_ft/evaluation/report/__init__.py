"""Tables, charts, HTML pages and model cards, made of figures."""
