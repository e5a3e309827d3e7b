//! Policy files to a live snapshot: reads the folder, compiles, binds to keys, swaps whole, watches.
