"""Times of a log in seconds: ISO 8601, dates of office programs and loggers, seconds and milliseconds since 1970."""

import duckdb

YEAR_FIRST_FORMATS = ("%Y.%m.%d_%H.%M.%S", "%Y%m%d %H%M%S", "%Y%m%d%H%M%S", "%Y%m%d_%H%M%S", "%Y-%m-%d-%H-%M-%S")
DAY_FIRST_FORMATS = (
    "%d.%m.%Y %H:%M:%S.%g", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S.%g", "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%d%m%y %H%M%S.%g", "%d%m%y %H%M%S", "%d/%m/%Y %I:%M:%S %p",
)  # fmt: skip
MONTH_FIRST_FORMATS = (
    "%m/%d/%Y %H:%M:%S.%g", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p",
)  # fmt: skip
SERIAL_DATE_LIMITS = 36526, 73415  # days from the start of 1900 to 2000 and 2101, as spreadsheets count them
SERIAL_DATE_OF_1970 = 25569
SERIAL_DATE_MAX_STEP = 1e-3  # of the median step between reports: 86 s as days; no log has reports each millisecond
EPOCH_SCALES = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))  # numbers above the first are ns, µs, ms since 1970


def seconds_expression(text: str, month_first: bool, serial_date: bool) -> str:
    """SQL of the seconds that a text column says, NULL where it is no time.

    Numbers count as seconds, or as milliseconds, microseconds or nanoseconds since 1970 where they are as large as
    that, and as days since 1900 where `serial_date` says so. Times without a zone are taken as UTC, times of the day
    without a date as seconds since midnight.
    """
    number = f"TRY_CAST(replace({text}, ',', '.') AS DOUBLE)"
    if serial_date:
        return f"round(({number} - {SERIAL_DATE_OF_1970}) * 86400, 3)"
    scaled = " ".join(f"WHEN abs({number}) > {limit:g} THEN {number} * {scale:g}" for limit, scale in EPOCH_SCALES)
    formats = (*YEAR_FIRST_FORMATS, *((MONTH_FIRST_FORMATS if month_first else ()) + DAY_FIRST_FORMATS))
    listed = ", ".join(f"'{form}'" for form in formats)
    compact = f"regexp_full_match({text}, '(19|20)[0-9]{{12}}')"  # 20231020145355 is no number of milliseconds
    return f"""coalesce(
        CASE WHEN {compact} THEN epoch(try_strptime({text}, '%Y%m%d%H%M%S')) {scaled} ELSE {number} END,
        epoch(TRY_CAST({text} AS TIMESTAMPTZ)),
        epoch(try_strptime({text}, [{listed}])),
        epoch(TRY_CAST(replace({text}, ',', '.') AS TIME)))"""


def is_month_first(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    """Whether dates such as 5/12/2021 begin with the month: where some second number is above 12 and no first one."""
    query = f"""
        SELECT max(TRY_CAST(parts[1] AS INTEGER)), max(TRY_CAST(parts[2] AS INTEGER)) FROM
        (SELECT regexp_split_to_array({column}, '[^0-9]') AS parts FROM {table}
         WHERE regexp_matches({column}, '^[0-9]{{1,2}}/[0-9]{{1,2}}/[0-9]{{4}}'))
    """
    first, second = connection.execute(query).fetchall()[0]
    return bool(second and second > 12 and not first > 12)


def is_serial_date(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    """Whether the times are days since 1900, as spreadsheets store them: 44328.4311 is 2021-05-12 10:20:50.

    All are numbers of days in this century, and so close together that they cannot be seconds.
    """
    query = f"""
        SELECT count(*) = count(day), min(day), max(day), median(step) FROM
        (SELECT day, day - lag(day) OVER (ORDER BY day) AS step FROM
         (SELECT DISTINCT TRY_CAST(replace({column}, ',', '.') AS DOUBLE) AS day FROM {table}
          WHERE {column} IS NOT NULL))
    """
    all_numbers, first, last, step = connection.execute(query).fetchall()[0]
    low, high = SERIAL_DATE_LIMITS
    return bool(all_numbers and step) and low <= first and last <= high and step < SERIAL_DATE_MAX_STEP
