"""RankSEG inside other libraries; each module needs its library, this package none."""
