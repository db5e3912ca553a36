package awsapi

// Operations are the names of all operations, by what the AWS CLI calls their
// service.
func Operations() map[string][]string {
	names := map[string][]string{}
	for _, s := range newAPI(Options{}).tables() {
		for name := range s.operations {
			names[s.signing] = append(names[s.signing], name)
		}
	}
	return names
}
