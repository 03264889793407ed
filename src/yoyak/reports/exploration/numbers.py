"""Numbers and shares as the page writes them."""


def number(value: float) -> str:
    """A number for people: 1,234 or 0.64."""
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.3g}"


def share(part: float, whole: float) -> str:
    """A share in percent; more digits for small ones."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.0f}%" if percent in (0, 100) else f"{percent:.1f}%" if percent >= 0.1 else f"{percent:.2g}%"
