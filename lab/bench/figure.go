package bench

import (
	"fmt"
	"io"
	"strconv"
	"time"
)

// figure is what was measured of one program.
type figure struct {
	name  string
	text  string  // the value with its unit, or why there is none
	value float64 // 0: none
	// short says that it is not what hadirector promises.
	short bool
}

// took is a time.
func took(name string, d time.Duration) figure {
	text := fmt.Sprintf("%.2f s", d.Seconds())
	if d < time.Second {
		text = milliseconds(d)
	}
	return figure{name: name, text: text, value: d.Seconds()}
}

// part is n of a number.
func part(name string, n, of int) figure {
	return figure{name: name, text: fmt.Sprintf("%d/%d", n, of), value: float64(n)}
}

// memory is a number of bytes.
func memory(name string, bytes int64) figure {
	return figure{name: name, text: fmt.Sprintf("%.1f MB", float64(bytes)/1e6), value: float64(bytes)}
}

// perSecond is a number in a time.
func perSecond(name string, n int, d time.Duration) figure {
	rate := float64(n) / d.Seconds()
	return figure{name: name, text: fmt.Sprintf("%.0f/s", rate), value: rate}
}

// none is a figure without a value.
func none(name, why string) figure { return figure{name: name, text: why} }

// printFigures prints a scenario: a column for each program, and what the first one's
// figures are divided by the second's.
func printFigures(out io.Writer, title string, programs []string, results [][]figure) {
	line := func(name string, columns []string) {
		fmt.Fprintf(out, "%-58s", name)
		for _, text := range columns {
			fmt.Fprintf(out, " %14s", text)
		}
		fmt.Fprintln(out)
	}
	head := programs
	if len(programs) == 2 {
		head = append(programs[:2:2], "ratio")
	}
	line(title, head)
	for _, name := range names(results) {
		var columns []string
		var values []float64
		for _, figures := range results {
			f := find(figures, name)
			columns, values = append(columns, f.text), append(values, f.value)
		}
		if len(values) == 2 {
			columns = append(columns, ratio(values[0], values[1]))
		}
		line("  "+name, columns)
	}
	fmt.Fprintln(out)
}

// names are those of all figures, in the order in which they come.
func names(results [][]figure) []string {
	var all []string
	seen := make(map[string]bool)
	for _, figures := range results {
		for _, f := range figures {
			if !seen[f.name] {
				seen[f.name] = true
				all = append(all, f.name)
			}
		}
	}
	return all
}

func find(figures []figure, name string) figure {
	for _, f := range figures {
		if f.name == name {
			return f
		}
	}
	return none(name, "-")
}

// ratio is empty where there is nothing to divide.
func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return ""
	}
	if r := a / b; r < 10 {
		return strconv.FormatFloat(r, 'g', 2, 64)
	}
	return fmt.Sprintf("%.0f", a/b)
}
