"""Formulas beside the code that uses them."""

formulas = {
    "reversal": "-delta(close, 5) / delay(close, 5)",
    "ranked_move": "rank(delta(close, 5) / delay(close, 5))",
}
