package conf

import "github.com/hadirector/hadirector/healthcheck"

// agentCheck is type "agent".
var agentCheck = checkKind{
	name:     healthcheck.Agent,
	keys:     []string{"port", "send", "on_no_answer"},
	connects: true,
	portless: true,
	read:     func(p *parser, t *node, s *healthcheck.Spec) { s.Agent = p.agentSpec(t) },
	write:    func(w *writer, s healthcheck.Spec) { w.agentSpec(s.Agent) },
}

// What on_no_answer can be.
const (
	noAnswerFail   = "fail"
	noAnswerIgnore = "ignore"
)

func (p *parser) agentSpec(t *node) healthcheck.AgentSpec {
	n := p.required(t, "port", "the port that the agent listens on")
	return healthcheck.AgentSpec{
		Port: uint16(p.integer(n, 0, 1, 65535)),
		Send: p.bytes(t.kid("send"), `what to say, such as "state\n"`, maxSend),
		IgnoreSilence: p.choice(t.kid("on_no_answer"), "what to do without an answer", noAnswerFail,
			[]string{noAnswerFail, noAnswerIgnore}, nil) == noAnswerIgnore,
	}
}

func (w *writer) agentSpec(a healthcheck.AgentSpec) {
	w.integer("port", int64(a.Port))
	w.bytes("send", a.Send)
	onNoAnswer := noAnswerFail
	if a.IgnoreSilence {
		onNoAnswer = noAnswerIgnore
	}
	w.text("on_no_answer", onNoAnswer)
}

// lonelyAgents warns of agents that are ignored when they do not answer, and are all that a
// real server is checked by.
func (p *parser) lonelyAgents(c *Config) {
	ignored := map[string]bool{}
	for _, s := range c.Checks {
		ignored[s.Name] = s.Agent.IgnoreSilence
	}
	for _, vs := range c.VirtualServers {
		for _, rs := range vs.RealServers {
			if len(rs.Checks) == 1 && ignored[rs.Checks[0]] {
				ignored[rs.Checks[0]] = false // said once
				p.warnf(p.root.at("check", rs.Checks[0], "on_no_answer"),
					"%s/%s has no other check: with %q nobody notices that it has died", vs.Name, rs.Name, noAnswerIgnore)
			}
		}
	}
}
