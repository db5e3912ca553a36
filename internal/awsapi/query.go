package awsapi

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/fault"
)

// The query protocol is what SQS clients spoke before 2023: a form with one
// parameter a leaf, and XML for an answer. Lists are numbered from 1, and maps
// are lists of names and values:
//
//	AttributeName.1=All                                  AttributeNames: ["All"]
//	Attribute.1.Name=DelaySeconds&Attribute.1.Value=5    Attributes: {"DelaySeconds": "5"}
//	SendMessageBatchRequestEntry.1.Id=a                  Entries: [{"Id": "a"}]
//	MessageAttribute.1.Name=n&
//	MessageAttribute.1.Value.DataType=String             MessageAttributes: {"n": {"DataType": "String"}}
//
// Nothing here knows what an operation does: the same tables serve all.

const (
	queryNamespace = "http://queue.amazonaws.com/doc/2012-11-05/"
	xmlType        = "text/xml"
	formType       = "application/x-www-form-urlencoded"
)

// commonQueryCodes are the query protocol's codes for what can go wrong with
// any operation.
var commonQueryCodes = map[string]string{
	codeMissing:             "MissingAuthenticationToken",
	codeIncomplete:          "IncompleteSignature",
	codeSignature:           "SignatureDoesNotMatch",
	codeUnknownKey:          "InvalidClientTokenId",
	codeSerialization:       "MalformedInput",
	codeUnknownOperation:    "InvalidAction",
	"AccessDeniedException": "AccessDenied",
	"ThrottlingException":   "Throttling",
	"ValidationException":   "ValidationError",
}

// queryNumbers are the parameters that are numbers in JSON.
var queryNumbers = []string{
	"DelaySeconds", "MaxNumberOfMessages", "MaxNumberOfMessagesPerSecond", "MaxResults", "VisibilityTimeout", "WaitTimeSeconds",
}

// queryLists are the parameters that are numbered, and what they are in JSON.
var queryLists = map[string]string{
	"AWSAccountId":               "AWSAccountIds",
	"ActionName":                 "Actions",
	"AttributeName":              "AttributeNames",
	"MessageAttributeName":       "MessageAttributeNames",
	"MessageSystemAttributeName": "MessageSystemAttributeNames",
	"TagKey":                     "TagKeys",
}

// queryMaps are the parameters that are maps, what they are in JSON, and what
// their keys are called.
var queryMaps = map[string]struct{ member, key string }{
	"Attribute":              {"Attributes", "Name"},
	"MessageAttribute":       {"MessageAttributes", "Name"},
	"MessageSystemAttribute": {"MessageSystemAttributes", "Name"},
	"Tag":                    {"Tags", "Key"},
}

// entrySuffix ends the name of a batch's entries, which begins with the
// action's.
const entrySuffix = "RequestEntry"

// isForm tells whether the body is a form.
func isForm(r *http.Request) bool {
	header := r.Header.Get("Content-Type")
	if header == formType {
		return true
	}
	kind, _, err := mime.ParseMediaType(header)
	return err == nil && kind == formType
}

// hasAction tells whether the query string names an operation.
func hasAction(r *http.Request) bool {
	return strings.Contains(r.URL.RawQuery, "Action=") && r.URL.Query().Has("Action")
}

// isQueuePath tells whether a path is that of a queue's URL.
func isQueuePath(path string) bool {
	account, name, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return ok && len(account) == 12 && strings.Trim(account, "0123456789") == "" && name != "" && !strings.Contains(name, "/")
}

// readQuery finds the operation that a form names, and puts its parameters into
// the JSON that the operation reads.
func (c *call) readQuery(body []byte) (operation, []byte, error) {
	form, err := url.ParseQuery(c.r.URL.RawQuery)
	if err == nil && isForm(c.r) {
		var posted url.Values
		if posted, err = url.ParseQuery(string(body)); err == nil {
			for name, values := range posted {
				form[name] = values
			}
		}
	}
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "MalformedQueryString", "The form cannot be read: %s.", err)
	}
	action := form.Get("Action")
	if action == "" {
		return nil, nil, fault.New(fault.Invalid, "MissingAction", "The request must contain the parameter Action.")
	}
	run := c.service.operations[action]
	if run == nil {
		return nil, nil, fault.New(fault.Invalid, "InvalidAction", "The action %s is not valid for this endpoint.", action)
	}
	c.action = action
	if !form.Has("QueueUrl") && isQueuePath(c.r.URL.Path) {
		form.Set("QueueUrl", originOf(c.r)+c.r.URL.Path)
	}
	input, err := queryToJSON(action, form)
	return run, input, err
}

// param is a node of the tree that dotted names make.
type param struct {
	value    string
	set      bool
	children map[string]*param
}

// The bounds of a form: more than any that a client of AWS's sends.
const (
	maxParams = 10_000
	maxDepth  = 8
)

// queryToJSON puts the parameters of an action into the JSON of its input.
func queryToJSON(action string, form url.Values) ([]byte, error) {
	if len(form) > maxParams {
		return nil, malformed("The form has more than %d parameters.", maxParams)
	}
	root := &param{}
	for name, values := range form {
		if isEnvelope(name) || len(values) == 0 {
			continue
		}
		parts := strings.Split(name, ".")
		if len(parts) > maxDepth {
			return nil, malformed("The parameter %s is nested too deep.", name)
		}
		at := root
		for _, part := range parts {
			next := at.children[part]
			if next == nil {
				if at.children == nil {
					at.children = make(map[string]*param)
				}
				next = &param{}
				at.children[part] = next
			}
			at = next
		}
		at.value, at.set = values[0], true
	}
	object, err := root.object(action)
	if err != nil {
		return nil, err
	}
	return encode(object)
}

// isEnvelope tells whether a parameter belongs to the protocol or the
// signature, and not to the operation.
func isEnvelope(name string) bool {
	switch name {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureVersion", "SignatureMethod", "Timestamp", "Expires", "SecurityToken":
		return true
	}
	return strings.HasPrefix(name, "X-Amz-")
}

func malformed(format string, args ...any) error {
	return fault.New(fault.Invalid, codeSerialization, format, args...)
}

// object is the JSON object that a node's children are the members of. action
// is "" inside an entry of a batch.
func (p *param) object(action string) (map[string]any, error) {
	object := make(map[string]any, len(p.children))
	for name, child := range p.children {
		list, isList := queryLists[name]
		m, isMap := queryMaps[name]
		var err error
		switch {
		case isList && child.children != nil:
			object[list], err = child.texts(name)
		case isMap:
			object[m.member], err = child.entries(name, m.key)
		case action != "" && name == action+entrySuffix:
			object["Entries"], err = child.objects(name)
		case !child.set:
			err = malformed("The parameter %s is not one of this action.", name)
		case isList:
			object[list] = []string{child.value}
		case slices.Contains(queryNumbers, name):
			object[name], err = number(name, child.value)
		default:
			object[name] = child.value
		}
		if err != nil {
			return nil, err
		}
	}
	return object, nil
}

func number(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fault.New(fault.Invalid, "InvalidParameterValue", "Value %s for parameter %s is invalid. Reason: Must be an integer.", text, name)
	}
	return n, nil
}

// numbered returns the children in the order of their numbers, which may have
// gaps.
func (p *param) numbered(name string) ([]*param, error) {
	numbers := make([]int, 0, len(p.children))
	for text := range p.children {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || strconv.Itoa(n) != text {
			return nil, malformed("The parameter %s.%s is not numbered from 1.", name, text)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	list := make([]*param, len(numbers))
	for i, n := range numbers {
		list[i] = p.children[strconv.Itoa(n)]
	}
	return list, nil
}

func (p *param) texts(name string) ([]string, error) {
	list, err := p.numbered(name)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, one := range list {
		if one.children != nil {
			return nil, malformed("The parameter %s.%d must be a text.", name, i+1)
		}
		texts[i] = one.value
	}
	return texts, nil
}

func (p *param) objects(name string) ([]map[string]any, error) {
	list, err := p.numbered(name)
	if err != nil {
		return nil, err
	}
	objects := make([]map[string]any, len(list))
	for i, one := range list {
		if objects[i], err = one.object(""); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// entries is a map: each numbered child has a key, and a value that is a text
// or an object. A map of one may leave out the number.
func (p *param) entries(name, key string) (map[string]any, error) {
	list := []*param{p}
	if p.children[key] == nil {
		var err error
		if list, err = p.numbered(name); err != nil {
			return nil, err
		}
	}
	entries := make(map[string]any, len(list))
	for _, one := range list {
		k, v := one.children[key], one.children["Value"]
		if k == nil || !k.set || v == nil {
			return nil, fault.New(fault.Invalid, "MissingParameter", "Each %s must have a %s and a Value.", name, key)
		}
		if _, twice := entries[k.value]; twice {
			return nil, fault.New(fault.Invalid, "InvalidParameterValue", "%s %s is there more than once.", name, k.value)
		}
		if v.children == nil {
			entries[k.value] = v.value
			continue
		}
		value, err := v.object("")
		if err != nil {
			return nil, err
		}
		entries[k.value] = value
	}
	return entries, nil
}

// xmlNames are the members whose elements are called otherwise in XML.
var xmlNames = map[string]string{
	"Attributes":        "Attribute",
	"Failed":            "BatchResultErrorEntry",
	"MessageAttributes": "MessageAttribute",
	"Messages":          "Message",
	"QueueUrls":         "QueueUrl",
	"queueUrls":         "QueueUrl",
	"Results":           "ListMessageMoveTasksResultEntry",
	"Tags":              "Tag",
}

// xmlMaps are the members that are maps, and what their keys are called.
var xmlMaps = map[string]string{"Attributes": "Name", "MessageAttributes": "Name", "Tags": "Key"}

// replyXML sends what an operation returned, as the query protocol has it.
func (c *call) replyXML(out any) error {
	var x xmlWriter
	x.open(c.action+"Response", queryNamespace)
	if out != nil {
		raw, err := encode(out)
		if err != nil {
			return err
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		x.open(c.action+"Result", "")
		x.codes = c.queryCode
		if err := x.object(d, c.action, ""); err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		x.shut(c.action + "Result")
	}
	x.open("ResponseMetadata", "")
	x.text("RequestId", c.id)
	x.shut("ResponseMetadata")
	x.shut(c.action + "Response")
	c.write(http.StatusOK, xmlType, x.Bytes())
	return nil
}

func (c *call) writeXMLError(status int, code, message string) {
	var x xmlWriter
	x.open("ErrorResponse", queryNamespace)
	x.open("Error", "")
	x.text("Type", blame(status))
	x.text("Code", code)
	x.text("Message", message)
	x.empty("Detail")
	x.shut("Error")
	x.text("RequestId", c.id)
	x.shut("ErrorResponse")
	c.write(status, xmlType, x.Bytes())
}

// xmlWriter writes XML from the tokens of JSON, in their order.
type xmlWriter struct {
	bytes.Buffer
	codes func(string) string // of errors inside a batch
}

func (x *xmlWriter) open(name, namespace string) {
	if x.Len() == 0 {
		x.WriteString(`<?xml version="1.0"?>`)
	}
	x.WriteString("<" + name)
	if namespace != "" {
		x.WriteString(` xmlns="` + namespace + `"`)
	}
	x.WriteString(">")
}

func (x *xmlWriter) shut(name string)  { x.WriteString("</" + name + ">") }
func (x *xmlWriter) empty(name string) { x.WriteString("<" + name + "/>") }

func (x *xmlWriter) text(name, text string) {
	x.open(name, "")
	_ = xml.EscapeText(x, []byte(text)) // a buffer takes everything
	x.shut(name)
}

// object writes the members of the object that comes next in d. parent is the
// member whose value it is, in JSON's words.
func (x *xmlWriter) object(d *json.Decoder, action, parent string) error {
	if token, _ := d.Token(); token != json.Delim('{') {
		return fmt.Errorf("%v is not an object", token)
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		member := token.(string) // the decoder takes nothing else for a key
		key, isMap := xmlMaps[member]
		if isMap {
			err = x.entries(d, action, member, key)
		} else {
			err = x.value(d, action, parent, member)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// entries writes the map that comes next in d.
func (x *xmlWriter) entries(d *json.Decoder, action, member, key string) error {
	token, err := d.Token()
	switch {
	case err != nil || token == nil: // null
		return err
	case token != json.Delim('{'):
		return fmt.Errorf("%s is not a map", member)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		x.open(xmlNames[member], "")
		x.text(key, name.(string))
		if err := x.value(d, action, member, "Value"); err != nil {
			return err
		}
		x.shut(xmlNames[member])
	}
	_, err = d.Token()
	return err
}

// value writes the value that comes next in d as the element of a member: as
// several for a list, as none for null.
func (x *xmlWriter) value(d *json.Decoder, action, parent, member string) error {
	name := xmlNames[member]
	switch {
	case member == "Successful":
		name = action + "ResultEntry"
	case name == "":
		name = member
	}
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return err
	}
	inner := json.NewDecoder(bytes.NewReader(raw))
	inner.UseNumber()
	switch raw[0] {
	case '{':
		x.open(name, "")
		if err := x.object(inner, action, member); err != nil {
			return err
		}
		x.shut(name)
		return nil
	case '[':
		if _, err := inner.Token(); err != nil {
			return err
		}
		for inner.More() {
			if err := x.value(inner, action, parent, member); err != nil {
				return err
			}
		}
		return nil
	}
	token, err := inner.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case nil:
	case string:
		if member == "Code" && parent == "Failed" {
			token = x.codes(token)
		}
		x.text(name, token)
	default:
		x.text(name, fmt.Sprint(token))
	}
	return nil
}
