"""Formulas beside the code that uses them; one compares adjusted prices across assets."""

formulas = {
    "reversal": "-delta(close, 5) / delay(close, 5)",
    "dollar_move": "rank(delta(close, 5))",
}
