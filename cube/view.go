package cube

// sweepViews removes views that were never completed.
func (c *Cube) sweepViews() error { return nil }
