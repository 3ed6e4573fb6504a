package auth

// Owner is the owner of a resource. A trigger has the owner of its container.
type Owner struct {
	OrganizationID string
	ProjectID      string
	// NamespaceID is the container's namespace. It is empty for a container without a
	// namespace, and for a namespace.
	NamespaceID string
}
