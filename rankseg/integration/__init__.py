"""RankSEG inside other libraries: import a module by its name; each needs its library."""
