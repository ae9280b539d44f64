# shellcheck shell=sh
PATH=/opt/evaldock/commands:/opt/harness/bin:/opt/backend/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
