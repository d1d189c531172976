package cli

import (
	"cmp"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// Column is a column of a [Sheet].
type Column struct {
	Head  string
	Rank  int  // the highest goes first where there is no room for all; 0 never goes
	Cut   bool // its texts may be cut, to cutMin
	Fold  bool // its texts may be folded, to foldMin; the last column alone
	Below bool // where it goes, its texts stand on lines of their own below the row
	More  bool // only for people at a terminal, and with -o wide: what reads a pipe keeps the columns that it knows
}

// Sheet is a table with more columns than every terminal has room for. A line break or another sign that is not to be seen
// is printed as Go writes it, so that no value can pass for a row.
type Sheet struct {
	Columns []Column
	Rows    [][]string
	Toned   string // head of a column that has colours
	Tones   []Tone // of that column, row by row
}

// Tone is the colour of a row's cell, where there are colours.
type Tone string

// Tones, as terminals have them.
const (
	Plain  Tone = ""
	Yellow Tone = "\x1b[33m"
	Red    Tone = "\x1b[31m"
	reset       = "\x1b[0m"
)

const (
	gap     = 2  // spaces between columns
	cutMin  = 10 // characters that a text keeps
	foldMin = 20 // characters that a folded line has
	indent  = 4  // spaces before what stands below a row
)

// Table prints rows without a head for people. On a terminal, the last column is folded to its width, or stands below.
func Table(w io.Writer, rows [][]string) error {
	width, _ := screen(w)
	return table(w, width, rows)
}

func table(w io.Writer, width int, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	columns := make([]Column, len(rows[0]))
	columns[len(columns)-1] = Column{Rank: 1, Fold: true, Below: true}
	return Sheet{Columns: columns, Rows: rows}.write(w, width, false, false)
}

// Print prints the sheet for people: on a terminal as much of it as fits, elsewhere all of it, for what reads a pipe has no
// width.
func (s Sheet) Print(c *cli.Context, w io.Writer) error {
	width, colours := screen(w)
	wide := c.String("output") == "wide"
	if wide {
		width = 0
	}
	return s.write(w, width, wide, colours)
}

// screen is how wide the terminal is that w writes to, and whether it may show colours; 0 if it writes to none.
//
// Source: https://no-color.org
func screen(w io.Writer) (width int, colours bool) {
	switch wrapped := w.(type) {
	case *Sink:
		w = wrapped.out
	case *output:
		w = wrapped.to
	}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		width = 0
	}
	return width, os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func (s Sheet) write(w io.Writer, width int, wide, colours bool) error {
	s = s.visible()
	shown, below := s.fit(width, wide)
	var b strings.Builder
	var heads []string
	for _, c := range s.Columns {
		heads = append(heads, c.Head)
	}
	for n, row := range append([][]string{heads}, s.Rows...) {
		if n == 0 && strings.Join(row, "") == "" {
			continue
		}
		var line strings.Builder
		var rest []string
		for i, column := range shown {
			cell, size := row[column.at], column.width
			if s.Columns[column.at].Fold {
				folded := fold(cell, size)
				cell, rest = folded[0], folded[1:]
			} else {
				cell = cut(cell, size)
			}
			padding := strings.Repeat(" ", max(0, size-utf8.RuneCountInString(cell)))
			if colours && n > 0 && s.Columns[column.at].Head == s.Toned && s.Tones[n-1] != Plain {
				cell = string(s.Tones[n-1]) + cell + reset
			}
			line.WriteString(cell)
			if i < len(shown)-1 {
				line.WriteString(padding + strings.Repeat(" ", gap))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		for _, text := range rest {
			b.WriteString(strings.Repeat(" ", s.total(shown[:len(shown)-1], false)+gap) + text + "\n")
		}
		if n > 0 {
			s.writeBelow(&b, row, below, width)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeBelow writes the cells of a row that have no room in it, each after its head if it has one.
func (s Sheet) writeBelow(b *strings.Builder, row []string, below []int, width int) {
	for _, at := range below {
		if row[at] == "" || row[at] == "-" {
			continue
		}
		text := row[at]
		if head := s.Columns[at].Head; head != "" {
			text = strings.ToLower(head) + ": " + text
		}
		for _, line := range fold(text, max(width-indent, foldMin)) {
			b.WriteString(strings.Repeat(" ", indent) + line + "\n")
		}
	}
}

func (s Sheet) visible() Sheet {
	rows := make([][]string, len(s.Rows))
	for n, row := range s.Rows {
		for _, cell := range row {
			rows[n] = append(rows[n], visible(cell))
		}
	}
	s.Rows = rows
	return s
}

type shownColumn struct{ at, width int }

// fit chooses the columns that have room, how wide each is, and which stand below their rows. Columns that say nothing go
// first, then those of the highest rank; what may be cut is cut last. 0 is room for all.
func (s Sheet) fit(room int, wide bool) (shown []shownColumn, below []int) {
	for at, column := range s.Columns {
		width := utf8.RuneCountInString(column.Head)
		empty := len(s.Rows) > 0
		for _, row := range s.Rows {
			width = max(width, utf8.RuneCountInString(row[at]))
			empty = empty && (row[at] == "" || row[at] == "-")
		}
		if wide || room == 0 && !column.More || room > 0 && (!empty || column.Rank == 0) {
			shown = append(shown, shownColumn{at, width})
		}
	}
	if room == 0 {
		return shown, nil
	}
	for over := s.total(shown, true) - room; over > 0; over = s.total(shown, true) - room {
		last := slices.MaxFunc(shown, func(a, b shownColumn) int { return cmp.Compare(s.Columns[a.at].Rank, s.Columns[b.at].Rank) })
		if s.Columns[last.at].Rank == 0 {
			break
		}
		shown = slices.DeleteFunc(shown, func(c shownColumn) bool { return c == last })
		if s.Columns[last.at].Below {
			below = append(below, last.at)
		}
	}
	slices.Sort(below)
	for over := s.total(shown, false) - room; over > 0; over = s.total(shown, false) - room {
		widest := -1
		for n, c := range shown {
			if c.width > s.Columns[c.at].least(c.width) && (widest < 0 || c.width > shown[widest].width) {
				widest = n
			}
		}
		if widest < 0 {
			break
		}
		shown[widest].width--
	}
	return shown, below
}

// total is how wide the columns are, or would be with what may be cut as short as it can be.
func (s Sheet) total(shown []shownColumn, shortest bool) int {
	sum := gap * (len(shown) - 1)
	for _, c := range shown {
		if shortest {
			sum += s.Columns[c.at].least(c.width)
		} else {
			sum += c.width
		}
	}
	return sum
}

// least is how wide the column is at least, if its texts need so much.
func (c Column) least(width int) int {
	switch {
	case c.Cut:
		return min(width, cutMin)
	case c.Fold:
		return min(width, foldMin)
	}
	return width
}

// cut shortens a text to so many characters, and shows that it did.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// fold breaks a text into lines of at most so many characters, at its spaces, but not within `quoted` commands: who copies
// one is to get one line.
func fold(text string, most int) (lines []string) {
	line := ""
	for _, word := range words(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > most {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// words are what stands between the spaces of a text; what stands in backquotes is part of one.
func words(text string) (words []string) {
	quoted := false
	for piece := range strings.SplitSeq(text, " ") {
		if quoted {
			words[len(words)-1] += " " + piece
		} else {
			words = append(words, piece)
		}
		quoted = quoted != (strings.Count(piece, "`")%2 == 1)
	}
	return words
}
