// Package admin is the daemon's unix socket: HTTP and JSON, served by the daemon and
// used by the command line, which has no other way in. The API is versioned in its
// paths:
//
//	GET  /v1/status                     director.Status
//	GET  /v1/events?since=RFC3339       one journal.Record per line, oldest first
//	GET  /v1/events?follow=1            the same, then each new one as it happens
//	POST /v1/reload                     loads the configuration file again; Reloaded
//	POST /v1/plan                       what that would change; Planned
//	POST /v1/plan?file=NAME             the same for the configuration in the body, which
//	                                    mistakes name so
//	POST /v1/switchover?instance=NAME   gives virtual routers away; []director.SwitchedOver
//	POST /v1/override?target=VS/RS&kind=drain&for=2h&reason=TEXT
//	                                    a live change of real servers; Overridden
//
// An error is an HTTP status with {"error": "..."}.
//
// The socket's mode is 0600: who may open it may do everything.
package admin
