package cloud

import "containertriggers/infra/local/guard"

// StartMeter begins to count what functions use of AWS.
func (c *Cloud) StartMeter() { c.guard.StartMeter() }

// Used returns what a function has used of AWS since StartMeter, by the folder of its code.
func (c *Cloud) Used(folder string) guard.Usage { return c.guard.Used(c.Function(folder).Name) }

// Invocations returns how many invocations of a function have ended since Start, and how many
// have not, by the folder of its code.
func (c *Cloud) Invocations(folder string) (ended, underWay int) {
	return c.host.Invocations(c.Function(folder).Name)
}
