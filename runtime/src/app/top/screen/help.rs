//! The help: what the keys and the columns mean.

use ratatui::text::Line;

const TEXT: &str = "
Keys                                 Feeds
  q, Ctrl-C   quit                     OPEN       connections that are open
  ?           this help                SOUND      those that carry all symbols
  Tab         consumers or symbols     FRAME      since the last frame
  Up, Down    select (also k, j)       GAPS       time that was not covered
  s, S        sort, reverse            REPAIRING  gaps, or first windows
  /           filter by name
  Esc         remove it, close the log
                                     Consumers
Orders                                 LOST       closed klines dropped
  p           pause                    QUEUE      klines that wait, and its size
  r           resume, restart          LAG        from the hub to its answer
  R           load the component       MEMORY     of its instance
  l, Enter    follow its log
                                     Symbols
The figures are those of /metrics,     TRADES/s   mean of 10 s
once a second. Nothing here delays     QUALITY    of the newest kline
the run.                               bars       trades of each second
";

pub(super) fn lines() -> impl Iterator<Item = Line<'static>> {
    TEXT.lines().map(Line::raw)
}
