# How `sam build` builds a function: it runs `make build-<logical ID>` in the folder
# that has the name of the template's parameter Architecture. So a build always fits
# the architecture that the function is deployed with.
ROOT := ../../..
include $(ROOT)/Makefile # for GOBUILD

# CreateTriggerFunction is functions/create-trigger.
build-%Function:
	cd $(ROOT) && GOOS=linux GOARCH=$(GOARCH) $(GOBUILD) -o "$(ARTIFACTS_DIR)/bootstrap" ./functions/$$(echo $* | sed 's/\([a-z]\)\([A-Z]\)/\1-\2/g' | tr A-Z a-z)

# The one function that is deployed twice.
build-DispatchQueueLongFunction: build-DispatchQueueFunction ;
