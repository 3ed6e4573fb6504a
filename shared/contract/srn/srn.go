// Package srn builds resource names that are unique among all deployments.
package srn

// Of returns the SRN of a resource. The domain is the deployment's, and the collection
// is the segment before the ID in the resource's path, such as "triggers".
func Of(domain, region, collection, id string) string {
	return "srn://containers." + domain + "/regions/" + region + "/" + collection + "/" + id
}
