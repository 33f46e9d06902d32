"""The benchmark: plans what to measure, runs it in alternating rounds, and reports it. Started by Scripts/bench."""
