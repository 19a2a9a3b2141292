"""The table as programs read it: `table.csv`, everything about each row."""

from __future__ import annotations

from typing import Any

import pandas as pd

from feelvos_lab.ablate.results import SCORES, Results, paper_number, settings_text


def table_frame(results: Results) -> pd.DataFrame:
    """One line a row, in percent and seconds, rounded to four digits."""
    table = []
    for row in results.rows:
        line: dict[str, Any] = {"variant": row.variant.name, **row.states}
        line["parameters"] = settings_text(row.variant)
        main = row.estimates.get(results.spec.metric)
        line |= {"seeds": main and main.seeds, "clips": main and main.clips, "objects": main and main.objects}
        for column in SCORES:
            value = row.estimates.get(column)
            line |= {column: value and value.mean, f"{column}_low": value and value.low}
            line |= {f"{column}_high": value and value.high}
        compared = row.to_baseline
        change = compared and compared.estimate
        line |= {"difference": change and change.mean, "difference_low": change and change.low}
        line |= {"difference_high": change and change.high, "difference_spread": compared and compared.spread}
        test = compared and compared.test
        for name in ("t", "df", "p", "low", "high"):
            line[f"seeds_t_{name}" if name != "t" else "seeds_t"] = getattr(test, name) if test else None
        line |= {"train_seconds": row.train_seconds, "test_seconds": row.test_seconds}
        for column in SCORES:
            number = paper_number(row.variant, column)
            line |= {f"paper_{column}": number and number.value, f"paper_{column}_mark": number and number.mark}
        table.append(line)
    return pd.DataFrame(table).round(4)
