package yamlfile

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits bound what Parse accepts. Zero fields take their defaults.
type Limits struct {
	Bytes  int // 1 MiB
	Tokens int // 200,000
	Depth  int // 64
}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 1 << 20
	}
	if l.Tokens == 0 {
		l.Tokens = 200_000
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	return l
}

// Parse reads a document. The name is what errors call the file. An empty
// document has a root of kind Null. Every error is an *Error or Errors.
func Parse(name string, data []byte, limits Limits) (*Document, error) {
	limits = limits.withDefaults()
	if len(data) > limits.Bytes {
		return nil, &Error{Position: Position{File: name},
			Message: fmt.Sprintf("is %d bytes long; at most %d are read", len(data), limits.Bytes)}
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	doc := &Document{File: name, lines: strings.Split(text, "\n")}
	if err := doc.checkText(text); err != nil {
		return nil, err
	}
	root, err := doc.parse(text, limits)
	if err != nil {
		return nil, err
	}
	doc.Root = root
	return doc, nil
}

// errorf returns an error at a place of the document.
func (d *Document) errorf(line, col, width int, hint, format string, args ...any) *Error {
	n := Node{doc: d, line: line, col: col, width: width}
	return &Error{Position: n.Pos(), Message: fmt.Sprintf(format, args...), Hint: hint}
}

// checkText refuses what no text file holds.
func (d *Document) checkText(text string) error {
	if utf8.ValidString(text) && strings.IndexFunc(text, isControl) < 0 {
		return nil
	}
	for i, line := range d.lines {
		col := 1
		for at := 0; at < len(line); col++ {
			c, size := utf8.DecodeRuneInString(line[at:])
			if c == utf8.RuneError && size == 1 {
				return d.errorf(i+1, col, 1, "save the file as UTF-8", "byte 0x%02x is not UTF-8", line[at])
			}
			if isControl(c) {
				return d.errorf(i+1, col, 1, "", "control character U+%04X does not belong here", c)
			}
			at += size
		}
	}
	return nil
}

func isControl(c rune) bool {
	return c < ' ' && c != '\t' && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\ufeff'
}

// parse runs the YAML parser within the limits. It turns a panic of the parser
// into an error: its input is hostile.
func (d *Document) parse(text string, limits Limits) (root *Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, d.errorf(0, 0, 0, "", "is not YAML that can be read: %s", quote(fmt.Sprint(p)))
		}
	}()
	tokens := lexer.Tokenize(text)
	if len(tokens) > limits.Tokens {
		return nil, d.errorf(0, 0, 0, "", "has more than %d words; that is too many", limits.Tokens)
	}
	tokens = joinPlain(tokens)
	if err := d.checkTokens(tokens, limits); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, d.syntaxError(err)
	}
	return d.build(file)
}

// joinPlain puts together the plain scalars with a colon in a flow list, such
// as [exit:75], which the lexer takes for a pair: in YAML a colon ends a key
// only where a space follows.
func joinPlain(tokens token.Tokens) token.Tokens {
	var open []token.Type
	out := make(token.Tokens, 0, len(tokens))
	for i := 0; i < len(tokens); i++ {
		tk := tokens[i]
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			open = append(open, tk.Type)
		case token.SequenceEndType, token.MappingEndType:
			open = open[:max(0, len(open)-1)]
		case token.MappingValueType:
			if len(open) > 0 && open[len(open)-1] == token.SequenceStartType && len(out) > 0 && i+1 < len(tokens) &&
				isPlain(out[len(out)-1]) && isPlain(tokens[i+1]) && adjacent(out[len(out)-1], tk) && adjacent(tk, tokens[i+1]) {
				out[len(out)-1] = joined(out[len(out)-1], tokens[i+1])
				i++
				continue
			}
		}
		out = append(out, tk)
	}
	for i, tk := range out {
		tk.Prev, tk.Next = nil, nil
		if i > 0 {
			tk.Prev, out[i-1].Next = out[i-1], tk
		}
	}
	return out
}

func joined(a, b *token.Token) *token.Token {
	return token.String(a.Value+":"+b.Value, a.Origin+":"+b.Origin, a.Position)
}

// adjacent reports whether b begins where a ends.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

// isPlain reports whether a token is a scalar without quotes.
func isPlain(tk *token.Token) bool {
	switch tk.Type {
	case token.StringType, token.BoolType, token.NullType, token.IntegerType, token.BinaryIntegerType,
		token.OctetIntegerType, token.HexIntegerType, token.FloatType, token.InfinityType, token.NanType:
		return true
	}
	return false
}

// refusedTokens are the parts of YAML that are not read.
var refusedTokens = map[token.Type]string{
	token.AnchorType:     "anchors (&) are not read here; write the value out",
	token.AliasType:      "aliases (*) are not read here; write the value out, or quote the text",
	token.TagType:        "tags (!) are not read here; quote the text if it begins with !",
	token.MergeKeyType:   "merge keys (<<) are not read here; write the keys out",
	token.MappingKeyType: "complex keys (?) are not read here",
	token.DirectiveType:  "directives (%) are not read here",
}

// checkTokens refuses what the parser must not see: parts of YAML that are not
// read, and nesting deeper than the limit.
func (d *Document) checkTokens(tokens token.Tokens, limits Limits) error {
	depth := nesting{}
	for i, tk := range tokens {
		if tk.Position == nil {
			continue
		}
		if why, ok := refusedTokens[tk.Type]; ok {
			return d.errorf(tk.Position.Line, tk.Position.Column, len(tk.Value), "", "%s", why)
		}
		if tk.Type == token.InvalidType {
			return d.invalid(tk)
		}
		if depth.add(tokens, i) > limits.Depth {
			return d.errorf(tk.Position.Line, tk.Position.Column, 1, "", "is nested more than %d deep", limits.Depth)
		}
		if depth.flow > 0 && tk.Type == token.MappingValueType && i > 0 && i+1 < len(tokens) &&
			isPlain(tokens[i-1]) && isPlain(tokens[i+1]) && adjacent(tokens[i-1], tk) && adjacent(tk, tokens[i+1]) {
			return d.errorf(tk.Position.Line, tk.Position.Column, 1, "write "+tokens[i-1].Value+": "+tokens[i+1].Value,
				"a space is missing after the colon")
		}
	}
	return nil
}

// nesting bounds how deep the parser will recurse: brackets, and block lists
// and maps by their growing indentation.
type nesting struct {
	flow    int
	columns []int
}

func (s *nesting) add(tokens token.Tokens, i int) int {
	tk := tokens[i]
	switch tk.Type {
	case token.SequenceStartType, token.MappingStartType:
		s.flow++
	case token.SequenceEndType, token.MappingEndType:
		s.flow = max(0, s.flow-1)
	case token.SequenceEntryType:
		s.push(tk.Position.Column)
	case token.MappingValueType:
		if i > 0 && s.flow == 0 {
			s.push(tokens[i-1].Position.Column)
		}
	}
	return s.flow + len(s.columns)
}

func (s *nesting) push(col int) {
	for len(s.columns) > 0 && s.columns[len(s.columns)-1] >= col {
		s.columns = s.columns[:len(s.columns)-1]
	}
	s.columns = append(s.columns, col)
}

// invalid is the error for text that is no YAML token.
func (d *Document) invalid(tk *token.Token) *Error {
	message, hint := plainWords(tk.Error)
	return d.errorf(tk.Position.Line, tk.Position.Column, 1, hint, "%s", message)
}

// syntaxError gives an error of the parser its place.
func (d *Document) syntaxError(err error) error {
	e, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	})
	if !ok || e.GetToken() == nil || e.GetToken().Position == nil {
		return d.errorf(0, 0, 0, "", "is not YAML: %v", err)
	}
	tk := e.GetToken()
	message, hint := plainWords(e.GetMessage())
	return d.errorf(tk.Position.Line, tk.Position.Column, utf8.RuneCountInString(firstLine(tk.Value)), hint, "%s", message)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// syntaxWords say the parser's messages so that one who knows no YAML knows
// what to do. The first whose key is in the message holds.
var syntaxWords = []struct{ in, message, hint string }{
	{"mapping value is not allowed", "a colon does not belong here", `text with ": " in it needs quotes`},
	{"not allowed in this context", "this does not belong here", "check the indentation"},
	{"cannot start any token", "a tab cannot indent", "indent with spaces"},
	{"tab character", "a tab cannot indent", "indent with spaces"},
	{"reserved character", "text cannot begin with this character", "put the text in quotes"},
	{"-quoted text", "a closing quote is missing", ""},
	{"',' or ']' must be specified", "a comma or ] is missing before this", ""},
	{"',' or '}' must be specified", "a comma or } is missing before this", ""},
	{"']' not found", "the closing ] is missing", ""},
	{"end token '}'", "the closing } is missing", ""},
	{"'}' not found", "the closing } is missing", ""},
}

func plainWords(message string) (plain, hint string) {
	for _, w := range syntaxWords {
		if strings.Contains(message, w.in) {
			return w.message, w.hint
		}
	}
	return message, ""
}

// build turns the parser's tree into nodes.
func (d *Document) build(file *ast.File) (*Node, error) {
	var root *Node
	b := builder{doc: d}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		n := b.node(doc.Body, nil)
		if root != nil {
			return nil, d.errorf(n.line, n.col, 1, "", "a second document begins here; only one is read")
		}
		root = n
	}
	if len(b.errs) > 0 {
		return nil, b.err()
	}
	if root == nil {
		root = &Node{doc: d, line: 1, col: 1, width: 1}
	}
	return root, nil
}

// builder makes nodes and collects the mistakes in them.
type builder struct {
	doc  *Document
	errs Errors
}

func (b *builder) err() error {
	if len(b.errs) == 1 {
		return b.errs[0]
	}
	return b.errs
}

// node makes the node of a value; key is the name that it stands under.
func (b *builder) node(v ast.Node, key *Node) *Node {
	n := &Node{doc: b.doc}
	if key != nil {
		n.name = key.Text
	}
	b.place(n, v.GetToken(), key)
	switch v := v.(type) {
	case *ast.MappingNode:
		n.Kind = Map
		b.entries(n, v.Values)
		b.placeMap(n, v.Start)
	case *ast.MappingValueNode:
		n.Kind = Map
		b.entries(n, []*ast.MappingValueNode{v})
		b.placeMap(n, nil)
	case *ast.SequenceNode:
		n.Kind = List
		for _, item := range v.Values {
			at := &Node{Text: fmt.Sprintf("%s[%d]", n.name, len(n.Items)), line: n.line, col: n.col, width: n.width}
			n.Items = append(n.Items, b.node(item, at))
		}
	case *ast.LiteralNode:
		n.Kind, n.Text = String, v.Value.Value
	case *ast.NullNode:
		n.Kind = Null
	case ast.ScalarNode:
		b.scalar(n, v.GetToken())
	default:
		b.errs = append(b.errs, &Error{Position: n.Pos(), Message: "this part of YAML is not read here"})
	}
	return n
}

// place gives a node the place of its token. A value that is not written, such
// as that of "key:", has the place of its key.
func (b *builder) place(n *Node, tk *token.Token, key *Node) {
	if tk == nil || tk.Position == nil || tk.Type == token.ImplicitNullType || tk.Position.Column < 1 {
		if key != nil {
			n.line, n.col, n.width = key.line, key.col, key.width
		}
		return
	}
	n.line, n.col, n.width = tk.Position.Line, tk.Position.Column, utf8.RuneCountInString(firstLine(tk.Value))
	if tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType {
		n.width += 2
	}
	n.skipBlanks()
}

// skipBlanks moves a column that a tab has thrown off to the text itself.
func (n *Node) skipBlanks() {
	if n.line < 1 || n.line > len(n.doc.lines) {
		return
	}
	line := []rune(n.doc.lines[n.line-1])
	for n.col >= 1 && n.col < len(line) && (line[n.col-1] == ' ' || line[n.col-1] == '\t') {
		n.col++
	}
}

// placeMap gives a block map the place of its first key: its own token is a
// colon.
func (b *builder) placeMap(n *Node, start *token.Token) {
	if (start == nil || start.Type != token.MappingStartType) && len(n.Entries) > 0 {
		first := n.Entries[0].Name
		n.line, n.col, n.width = first.line, first.col, first.width
	}
}

func (b *builder) entries(n *Node, values []*ast.MappingValueNode) {
	seen := make(map[string]*Node, len(values))
	for _, v := range values {
		key, ok := v.Key.(ast.Node)
		if !ok || key.GetToken() == nil {
			b.errs = append(b.errs, &Error{Position: n.Pos(), Message: "this key cannot be read"})
			continue
		}
		name := &Node{doc: b.doc, Kind: String, Text: key.GetToken().Value}
		b.place(name, key.GetToken(), n)
		if first := seen[name.Text]; first != nil {
			b.errs = append(b.errs, &Error{Position: name.Pos(),
				Message: fmt.Sprintf("key %s stands here twice; first in line %d", quote(name.Text), first.line)})
			continue
		}
		seen[name.Text] = name
		n.Entries = append(n.Entries, Entry{name.Text, name, b.node(v.Value, name)})
	}
}

// scalar reads a scalar that stands in one token.
func (b *builder) scalar(n *Node, tk *token.Token) {
	n.Kind, n.Text = String, tk.Value
	if !isPlain(tk) {
		return
	}
	n.raw = tk.Value
	kind, text, err := classify(tk.Value)
	if err != nil {
		b.errs = append(b.errs, &Error{Position: n.Pos(), Message: err.Error()})
		return
	}
	n.Kind, n.Text = kind, text
}

// ParseLine reads the value that begins at byte at of one line of text. Places
// are those in the whole line.
func ParseLine(name, line string, at int) (*Document, error) {
	doc, err := Parse(name, []byte(line[at:]), Limits{Bytes: 64 << 10})
	shift := utf8.RuneCountInString(line[:at])
	move := func(e *Error) {
		e.Source = line
		if e.Line <= 1 {
			e.Line, e.Column = 1, max(1, e.Column)+shift
		}
	}
	switch e := err.(type) {
	case nil:
	case *Error:
		move(e)
		return nil, e
	case Errors:
		for _, one := range e {
			move(one)
		}
		return nil, e
	}
	doc.lines = []string{line}
	doc.Root.shift(shift)
	return doc, nil
}

// shift moves the columns of a tree.
func (n *Node) shift(by int) {
	n.col += by
	for _, e := range n.Entries {
		e.Name.col += by
		e.Value.shift(by)
	}
	for _, item := range n.Items {
		item.shift(by)
	}
}
