"""python -m tests.operator [--events N]: an operator's run, printed step by step. Exit status 1 where a count is off."""

import argparse
import logging
import sys
import traceback
import warnings

from tests.operator.run import SHORT, Operator, Size


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.operator", description=__doc__)
    parser.add_argument("--events", type=int, default=Size().events, help="events between two steps, at least")
    parser.add_argument("--rate", type=float, default=Size().a_second, help="events a second, at most")
    parser.add_argument("--short", action="store_true", help="the upgrade alone, with few events: a minute or two")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
    logging.disable()
    size = Size(events=options.events, open=max(20, options.events // 10), a_second=options.rate)
    operator = Operator(SHORT if options.short else size, lambda line: print(line, flush=True))
    try:
        problems = operator.run()
    except BaseException:
        traceback.print_exc()
        print(operator.shop.logs(), file=sys.stderr)
        problems = ["the run could not be finished"]
    finally:
        operator.close()
    print(
        "\n".join(
            [
                "",
                *(
                    problems
                    or ["Nothing was lost. What was sent twice was announced, or in flight when its worker was killed."]
                ),
            ]
        )
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
