package cli

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func leasesSheet() Sheet {
	return Sheet{
		Toned: "EXPIRES", Tones: []Tone{Red, Plain},
		Columns: []Column{
			{Head: "INSTANCE"},
			{Head: "HOLDER", Rank: 1, Cut: true},
			{Head: "TYPE", Rank: 4, More: true},
			{Head: "EXPIRES"},
			{Head: "NOTE", Rank: 2, Cut: true},
			{Head: "EMPTY", Rank: 3},
			{Head: "LAUNCH", Rank: 6},
		},
		Rows: [][]string{
			{"i-0123456789abcdef0", "the search team", "c7i.large", "in 5m0s", "marked (heartbeat-lost), may be terminated at any moment", "-", "01a226c6-2e6b-7b9c-83d0-f613ba154b76"},
			{"i-0123456789abcdef1", "ada", "t3.micro", "in 3h12m", "-", "-", "nightly\n"},
		},
	}
}

func TestASheetFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for width, heads := range map[int]string{
		0:   "INSTANCE HOLDER EXPIRES NOTE EMPTY LAUNCH",
		40:  "INSTANCE EXPIRES",
		60:  "INSTANCE HOLDER EXPIRES NOTE",
		80:  "INSTANCE HOLDER TYPE EXPIRES NOTE",
		120: "INSTANCE HOLDER TYPE EXPIRES NOTE LAUNCH",
		200: "INSTANCE HOLDER TYPE EXPIRES NOTE LAUNCH",
	} {
		var b strings.Builder
		if err := leasesSheet().write(&b, width, false, false); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if got := strings.Join(strings.Fields(lines[0]), " "); got != heads || len(lines) != 3 {
			t.Errorf("%d: %s, want %s, in %d lines", width, got, heads, len(lines))
		}
		for _, line := range lines {
			if width > 0 && utf8.RuneCountInString(line) > width {
				t.Errorf("%d: %d characters: %s", width, utf8.RuneCountInString(line), line)
			}
			if strings.Contains(line, "\x1b") || strings.Contains(line, "  i-") {
				t.Errorf("%d: %q", width, line)
			}
		}
		if !strings.Contains(b.String(), "\ni-0123456789abcdef0") {
			t.Errorf("%d: an id was cut\n%s", width, b.String())
		}
	}
}

func TestASheetIsColouredWhereItMayBe(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := leasesSheet().write(&b, 80, false, true); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\x1b[31min 5m0s\x1b[0m") != 1 || strings.Count(b.String(), "\x1b") != 2 {
		t.Errorf("%q", b.String())
	}
	if width, colours := screen(&b); width != 0 || colours {
		t.Errorf("a buffer is a screen of %d characters", width)
	}
}

func TestTheLastColumnIsFolded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := table(&b, 40, [][]string{{"fail", "etcd", "no etcd answers at unix:///x: start it, or correct the endpoints"}, {"ok", "aws", "fine"}})
	want := `fail  etcd  no etcd answers at
            unix:///x: start it, or
            correct the endpoints
ok    aws   fine
`
	if err != nil || b.String() != want {
		t.Errorf("%v\n%swant\n%s", err, b.String(), want)
	}
}

func TestCellsWithoutRoomArePrintedBelowTheirRow(t *testing.T) {
	t.Parallel()
	sheet := Sheet{
		Columns: []Column{{Head: "TIME"}, {Head: "ACTOR", Rank: 1, Below: true}, {Head: "OLD", Rank: 3}, {Head: "REASON", Rank: 2, Below: true}},
		Rows:    [][]string{{"12:00", "ada@laptop", "-", "the nightly run takes until `lease extend i-1 --for 4h`"}, {"13:00", "bob@desk", "11:00", "-"}},
	}
	for width, want := range map[int]string{
		40: `TIME   ACTOR
12:00  ada@laptop
    reason: the nightly run takes until
    ` + "`lease extend i-1 --for 4h`" + `
13:00  bob@desk
`,
		16: `TIME
12:00
    actor: ada@laptop
    reason: the nightly
    run takes until
    ` + "`lease extend i-1 --for 4h`" + `
13:00
    actor: bob@desk
`,
		120: `TIME   ACTOR       OLD    REASON
12:00  ada@laptop  -      the nightly run takes until ` + "`lease extend i-1 --for 4h`" + `
13:00  bob@desk    11:00  -
`,
	} {
		var b strings.Builder
		if err := sheet.write(&b, width, false, false); err != nil || b.String() != want {
			t.Errorf("%d: %v\n%swant\n%s", width, err, b.String(), want)
		}
	}
}

func TestALastColumnWithoutRoomIsPrintedBelow(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := table(&b, 30, [][]string{{"12:00", "i-0123456789abcdef0", "from today until tomorrow"}, {"12:01", "i-1", "-"}})
	want := `12:00  i-0123456789abcdef0
    from today until tomorrow
12:01  i-1
`
	if err != nil || b.String() != want {
		t.Errorf("%v\n%swant\n%s", err, b.String(), want)
	}
}

func TestProseIsFoldedAtSpacesAndNotWithinACommand(t *testing.T) {
	t.Parallel()
	text := "It is stuck: say `lease unmanage i-1 --yes` or turn it off.\nSo it is."
	for width, want := range map[int]string{
		0:  text + "\n",
		20: "It is stuck: say\n`lease unmanage i-1 --yes`\nor turn it off.\nSo it is.\n",
	} {
		var b strings.Builder
		if err := prose(&b, width, text); err != nil || b.String() != want {
			t.Errorf("%d: %v, %q", width, err, b.String())
		}
	}
}

func TestAColumnThatIsFoldedLeavesRoomForTheOthers(t *testing.T) {
	t.Parallel()
	sheet := Sheet{
		Columns: []Column{{Head: "ID"}, {Head: "LOCATION", Rank: 1}, {Head: "REASON", Fold: true}},
		Rows:    [][]string{{"i-0123456789abcdef0", "123456789012/eu-west-1", "its lease expired while terminations were suspended here"}, {"i-1", "-", "its lease is valid"}},
	}
	for width, want := range map[int]string{
		60: `ID                   REASON
i-0123456789abcdef0  its lease expired while terminations
                     were suspended here
i-1                  its lease is valid
`,
		90: `ID                   LOCATION                REASON
i-0123456789abcdef0  123456789012/eu-west-1  its lease expired while terminations were
                                             suspended here
i-1                  -                       its lease is valid
`,
	} {
		var b strings.Builder
		if err := sheet.write(&b, width, false, false); err != nil || b.String() != want {
			t.Errorf("%d: %v\n%swant\n%s", width, err, b.String(), want)
		}
	}
}
